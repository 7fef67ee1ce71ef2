"""Volumes of a pod as folders of this machine. Nothing is mounted: a path in a pod is replaced where it is written."""

import base64
import os
import re
import shutil
import tempfile


class Volumes:
    """The volumes of one pod."""

    def __init__(self, store, knobs, pod):
        self._store, self._knobs, self._pod = store, knobs, pod
        self._places = {}
        """Path in the pod to folder here."""
        self._own = []

    def make(self):
        """Make them, or give False where something is not there yet."""
        spec = self._pod["spec"]
        paths = {
            mount["name"]: mount["mountPath"].rstrip("/")
            for container in [*spec.get("initContainers", ()), *spec["containers"]]
            for mount in container.get("volumeMounts", ())
        }
        for volume in spec.get("volumes", ()):
            path = paths.get(volume["name"])
            if path is None or path in self._places:
                continue
            if "persistentVolumeClaim" in volume:
                folder = self._knobs["claims"][volume["persistentVolumeClaim"]["claimName"]] or path
            elif "configMap" in volume:
                folder = self._config_map(volume["configMap"])
                if folder is None:
                    return False
            elif "emptyDir" in volume:
                folder = self._folder()
            else:
                folder = path
            self._places[path] = folder
        return True

    def placed(self, text):
        """A text of the pod with paths of this machine."""
        for path in sorted(self._places, key=len, reverse=True):
            where = rf"(?<![\w/.-]){re.escape(path)}(?![\w.-])"
            text = re.sub(where, lambda _, folder=self._places[path]: folder, text)
        return text

    def remove(self):
        for folder in self._own:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder(self):
        self._own.append(tempfile.mkdtemp(prefix="fake-volume-"))
        return self._own[-1]

    def _config_map(self, source):
        """As a node has it: a folder of its own behind a link, and links to what is in it."""
        with self._store.lock:
            found = self._store.objects["configmaps"].get((self._pod["metadata"]["namespace"], source["name"]))
        if found is None:
            return None
        data = {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
        data |= {key: text.encode() for key, text in (found.get("data") or {}).items()}
        folder = self._folder()
        for item in source.get("items") or [{"key": key, "path": key} for key in data]:
            place = os.path.join(folder, "..1", item["path"])
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "wb") as file:
                file.write(data[item["key"]])
            os.chmod(place, item.get("mode", 0o644))
        os.symlink("..1", os.path.join(folder, "..data"))
        for name in os.listdir(os.path.join(folder, "..1")):
            os.symlink(os.path.join("..data", name), os.path.join(folder, name))
        return folder
