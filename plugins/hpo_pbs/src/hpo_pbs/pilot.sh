# What runs on the first node of a job: it starts programs on the job's nodes, and ends when the driver has gone.
# Before these lines stand the settings: folder, quoted (for a shell), bin (where the driver found PBS), starter, patience (s).
#
# In its folder, which only this user may enter:
#   ../heartbeat   a number that changes as long as the driver lives
#   orders         lines of the driver, "NUMBER INDEX:NODE ...": run NUMBER.task on these nodes
#   answers        lines of this script: "begun ID STARTER", "ended NUMBER", "over WHY"
#   nodes          a copy of the job's list of nodes
#   *.said         what the programs print
# Where the job went back into the queue, orders of its earlier life are followed again: the driver may have given one
# while nobody was there, and a worker that is not wanted any more ends by itself.
# Files that are looked at again and again are there from the beginning: network file systems are slow to see new ones.

say() { printf '%s\n' "$*" >>answers; }

find_program() {
    for place in "$bin" "$(sed -n 's/^PBS_EXEC=//p' "${PBS_CONF_FILE:-/etc/pbs.conf}" 2>/dev/null)/bin" /opt/pbs/bin; do
        [ -x "$place/$1" ] && printf '%s\n' "$place/$1" && return
    done
    command -v "$1"
}

start() {
    number=$1
    shift
    for one; do
        index=${one%%:*}
        node=${one#*:}
        task="$folder/$number.task"
        case $starter in
            pbsdsh) "$(find_program pbsdsh)" -n "$index" -- /bin/sh "$task" "$node" "$index" ;;
            pbs_tmrsh) "$(find_program pbs_tmrsh)" "$node" /bin/sh "$task" "$node" "$index" ;;
            *) "$(find_program ssh)" -n -o BatchMode=yes "$node" "$attach /bin/sh $quoted/$number.task '$node' $index" ;;
        esac >"$number.$index.start" 2>&1 </dev/null &
    done
    wait
    say "ended $number"
}

cd "$folder" || exit 3
if [ "$starter" = auto ]; then
    for starter in pbsdsh pbs_tmrsh ssh; do
        find_program "$starter" >/dev/null && break
    done
fi
attach=$(find_program pbs_attach) && attach="$attach -j $PBS_JOBID"
why=
trap 'why="PBS told it to end" code=8' TERM
trap '' HUP INT
cat "$PBS_NODEFILE" >nodes || exit 3
say "begun $PBS_JOBID $starter"

taken=0 last= idle=0 missing=0 fast=100
while [ -z "$why" ]; do
    line=0
    while read -r number nodes; do
        line=$((line + 1))
        [ "$line" -le "$taken" ] && continue
        taken=$line fast=100
        (trap '' TERM && start "$number" $nodes) &
    done <orders
    if [ "$fast" -gt 0 ]; then
        fast=$((fast - 1)) pause=0.2 tenths=2
    else
        pause=1 tenths=10
    fi
    sleep "$pause"
    now=
    { read -r now <../heartbeat; } 2>/dev/null
    if [ -n "$now" ] && [ "$now" != "$last" ]; then
        last=$now idle=0
    else
        idle=$((idle + tenths))
        [ "$idle" -ge $((patience * 10)) ] && why="no sign of life from the driver for $patience s" code=7
    fi
    if [ -e orders ]; then
        missing=0
    else  # or a file server that stumbles
        missing=$((missing + tenths))
        [ "$missing" -ge 300 ] && why="its folder is gone" code=7
    fi
done

[ -e answers ] && say "over $why"
tenths=0
while [ "$tenths" -lt 30 ] && [ -e answers ] && [ "$(grep -c '^ended ' answers)" -lt "$taken" ]; do
    sleep 0.1
    tenths=$((tenths + 1))
done
exit "${code:-0}"
