"""The graph of what depends on what: the one user of networkx, imported only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hpo_core.exceptions import CyclicConditionError

if TYPE_CHECKING:
    import networkx as nx


def build(flags: Sequence[str], edges: Iterable[tuple[str, str, str]]) -> nx.DiGraph[str]:
    """A graph with a node for each flag and an edge from parent to dependent, labelled with the condition.

    Args:
        flags: all flags, in order.
        edges: parent, dependent, text of the condition.
    """
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(flags)
    for parent, dependent, text in edges:
        if graph.has_edge(parent, dependent):
            text = f"{graph.edges[parent, dependent]['condition']}; {text}"
        graph.add_edge(parent, dependent, condition=text)
    return graph


def has_cycle(graph: nx.DiGraph[Any]) -> bool:
    """Whether some nodes depend on each other in a circle."""
    import networkx as nx

    return not nx.is_directed_acyclic_graph(graph)


def ordered(graph: nx.DiGraph[Any], flags: Sequence[str]) -> list[str]:
    """The nodes, parents before dependents; among those that are free, in the order of ``flags``.

    Nodes that are not in ``flags`` come in the graph's own order, after the others.

    Raises:
        CyclicConditionError: there is a cycle; it is named.
    """
    import networkx as nx

    place = {flag: index for index, flag in enumerate(flags)}
    for node in graph.nodes:
        place.setdefault(node, len(place))
    try:
        return list(nx.lexicographical_topological_sort(graph, key=place.__getitem__))
    except nx.NetworkXUnfeasible:
        pass
    start = min((node for node in graph if _is_below_itself(graph, node)), key=place.__getitem__)
    cycle = tuple(parent for parent, _ in nx.find_cycle(graph, start))
    first = cycle.index(min(cycle, key=place.__getitem__))
    cycle = cycle[first:] + cycle[:first]
    shown = " -> ".join((*map(str, cycle), str(cycle[0])))
    raise CyclicConditionError(f"the conditions depend on each other in a circle: {shown}", cycle)


def _is_below_itself(graph: nx.DiGraph[Any], node: object) -> bool:
    import networkx as nx

    return any(child == node or node in nx.descendants(graph, child) for child in graph.successors(node))
