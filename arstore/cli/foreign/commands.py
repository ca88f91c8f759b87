"""Commands of docker, podman, buildah, skopeo, umoci, ctr, nerdctl and crane that arstore does not have.

A value is the reason ("" for none) and the hint. An entry is used for all commands below it too, so `network` also
answers `network create`. `image X` and `container X` need an entry only if the answer is not that for `X`.
"""

from __future__ import annotations

NOUNS = {"image": "image", "container": "container", "i": "image", "c": "container"}
"""Words before a verb that mean the same as the verb alone, most of the time; with ctr's short forms of them."""

CONTAINER_VERBS = frozenset({"inspect", "prune", "rm"})
"""Commands of `arstore container`."""

TOO_FEW = {
    "mount": "`arstore mounts` lists the mounts",
    "rm": "`arstore container rm` removes containers, `arstore gc` images without a name",
    "inspect": "`arstore images` and `arstore ps --all` list what there is",
    "diff": "give the name of a container or an image",
}
"""Hints for commands that other tools have without an argument."""

TOO_MANY = {
    "pull": "`arstore pull` brings one image into the store; `arstore copy docker://NAME DESTINATION` copies elsewhere",
    "push": "give at most the image and its new name; `arstore copy SRC DST` copies from elsewhere",
    "copy": "`arstore copy` copies images; `arstore cp FILE ID:PATH` copies files",
    "history": "give one image",
    "mount": "give one image or container, and at most a directory; mount the others one by one",
    "tag": "give the image and one name; call it again for each other name",
    "untag": "give one name; call it again for each other name",
    "commit": "give the container and the name of the new image",
    "rename": "give the container and its new name",
    "export": "give one container; -o FILE is the tar to write",
}
"""Hints for commands that other tools have with more arguments."""

_BUILD = (
    "arstore does not build images",
    "build with podman or buildah, and bring the image in with `arstore import`; "
    "`arstore commit` makes one from a container's changes",
)
_LIST = ("", "`arstore images` lists images, `arstore ps --all` containers, `arstore list-tags` tags in a registry")
_PODS = ("arstore runs single containers", "use `arstore run` for each of them")
_NO_DAEMON = ("arstore has no daemon and no remote hosts", "it works on the store that `arstore --root DIR` names")
_SWARM = ("arstore manages containers on this host only", "")
_NETWORKS = ("there are no named networks", "`arstore run --network private` gives a container a network of its own")
_LIMITS = (
    "the settings of a container cannot be changed",
    "give them to `arstore run` or `arstore create`; `arstore rename` changes the name",
)
_INDEX = ("", "`arstore index` manages indexes; `arstore inspect --raw IMAGE` prints a manifest or index")
_CONFIG = (
    "",
    "`arstore inspect --config IMAGE` prints a config; `arstore commit --change` and "
    "`arstore import --rootfs --change` set its fields",
)
_CHECKPOINTS = ("containers cannot be saved while they are running", "use `arstore commit` to keep their files")
_LEASES = ("leases protect imports, and end with them", "")
_CONTENT = (
    "",
    "the root is an OCI layout: blobs are below ROOT/blobs; `arstore inspect --raw IMAGE` prints a manifest",
)
_SNAPSHOTS = ("", "`arstore layers` lists layers, `arstore mount` shows an image's files")
_SANDBOX = ("arstore runs single containers", "use `arstore run`")
_PLUGINS = ("arstore has no plugins", "")
_SEARCH = ("arstore cannot search registries", "`arstore list-tags REPOSITORY` lists the tags of a repository")
_SECRETS = ("arstore does not store secrets", "use `arstore run --env-file FILE`, or mount a file with -v")
_VERSION = ("", "use `arstore --version`, or `arstore info`, which shows other programs too")
_VOLUME_PATH = ("a volume is a directory of the store", "`arstore volume inspect NAME` prints its path")
_TRUST = ("", "`arstore sign` signs, `arstore verify` verifies, `arstore policy explain` shows what a policy decides")

COMMANDS: dict[str, tuple[str, str]] = {
    # Images.
    "rmi": ("", "use `arstore rm IMAGE...`"),
    "ls": _LIST,
    "list": _LIST,
    "remove": ("", "`arstore rm` removes images, `arstore container rm` containers"),
    "image": ("", "commands on images need no `image` here: `arstore images`, `arstore rm`, `arstore inspect`, ..."),
    "image ls": ("", "use `arstore images`"),
    "image list": ("", "use `arstore images`"),
    "image import": (
        "",
        "`arstore import FILE` imports an image, `arstore import --rootfs TAR NAME` the tar of a root",
    ),
    "image load": ("", "use `arstore import FILE`; `arstore load` runs a pipeline image"),
    "image prune": ("", "use `arstore gc`, which removes images without a name"),
    "image exists": ("", "use `arstore inspect IMAGE`, which ends with status 3 if there is no such image"),
    "image scp": ("", "use `arstore save IMAGE | ssh HOST arstore import -`"),
    "image tree": ("", "`arstore layers` lists layers, `arstore history IMAGE` the steps of an image"),
    "image trust": _TRUST,
    "image check": ("", "use `arstore check`"),
    "image convert": ("", "use `arstore copy --format oci store:IMAGE DESTINATION`"),
    "image encrypt": ("", "use `arstore copy --encryption-key jwe:KEYFILE`"),
    "image decrypt": ("", "use `arstore import --decryption-key KEYFILE`"),
    "image usage": ("", "use `arstore du IMAGE`"),
    "images ls": ("", "use `arstore images`"),
    "images list": ("", "use `arstore images`"),
    "images pull": ("", "use `arstore pull`"),
    "images push": ("", "use `arstore push`"),
    "images import": ("", "use `arstore import FILE`"),
    "images export": ("", "use `arstore save IMAGE -o FILE`"),
    "images rm": ("", "use `arstore rm IMAGE`"),
    "images remove": ("", "use `arstore rm IMAGE`"),
    "images delete": ("", "use `arstore rm IMAGE`"),
    "images del": ("", "use `arstore rm IMAGE`"),
    "images tag": ("", "use `arstore tag`"),
    "images check": ("", "use `arstore check`"),
    "images mount": ("", "use `arstore mount`"),
    "images unmount": ("", "use `arstore umount`"),
    "images prune": ("", "use `arstore gc`"),
    "images inspect": ("", "use `arstore inspect`"),
    "images i": ("", "use `arstore inspect`"),
    "images usage": ("", "use `arstore du IMAGE`"),
    "images convert": ("", "use `arstore copy --format oci store:IMAGE DESTINATION`"),
    "images label": ("labels are part of an image's config", "use `arstore commit --change 'LABEL K=V'`"),
    "label": ("labels are part of an image's config", "use `arstore commit --change 'LABEL K=V'`"),
    "unmount": ("", "use `arstore umount`"),
    "manifest": _INDEX,
    "manifest create": ("", "use `arstore index create NAME IMAGE...`"),
    "manifest add": ("", "use `arstore index add NAME IMAGE...`"),
    "manifest remove": ("", "use `arstore index rm NAME IMAGE...`"),
    "manifest rm": ("", "use `arstore rm NAME`"),
    "manifest push": ("", "use `arstore index push NAME DESTINATION`"),
    "manifest inspect": ("", "use `arstore inspect --raw IMAGE`"),
    "manifest exists": ("", "use `arstore inspect --raw NAME`, which ends with status 3 if there is no such image"),
    "manifest annotate": ("annotations of an index cannot be changed", ""),
    "search": _SEARCH,
    "artifact": ("artifacts are stored with the image that they belong to", "`arstore referrers IMAGE` lists them"),
    "build": _BUILD,
    "builder": _BUILD,
    "builder prune": ("arstore has no build cache", "`arstore gc` removes what is not in use"),
    "buildx": _BUILD,
    "buildx du": ("arstore has no build cache", "use `arstore du`"),
    "buildx prune": ("arstore has no build cache", "`arstore gc` removes what is not in use"),
    "buildx imagetools": _INDEX,
    "bake": _BUILD,
    "bud": _BUILD,
    "farm": _BUILD,
    "mkcw": _BUILD,
    "source": _BUILD,
    "from": ("", "use `arstore mount --rw IMAGE`, change the files, then `arstore commit ID NAME`"),
    "add": ("", "use `arstore cp FILE ID:PATH`, then `arstore commit ID NAME`"),
    "trust": _TRUST,
    # Containers.
    "container ls": ("", "use `arstore ps`"),
    "container list": ("", "use `arstore ps`"),
    "container exists": (
        "",
        "use `arstore container inspect ID`, which ends with status 3 if there is no such container",
    ),
    "container info": ("", "use `arstore container inspect ID`"),
    "container cleanup": ("", "use `arstore gc`"),
    "container clone": ("", "use `arstore commit ID NAME`, then `arstore run NAME`"),
    "container delete": ("", "use `arstore container rm`"),
    "container del": ("", "use `arstore container rm`"),
    "container remove": ("", "use `arstore container rm`"),
    "containers": ("", "use `arstore ps --all`"),
    "containers delete": ("", "use `arstore container rm`"),
    "containers del": ("", "use `arstore container rm`"),
    "containers rm": ("", "use `arstore container rm`"),
    "containers remove": ("", "use `arstore container rm`"),
    "containers create": ("", "use `arstore create`"),
    "containers info": ("", "use `arstore container inspect ID`"),
    "containers checkpoint": _CHECKPOINTS,
    "containers restore": _CHECKPOINTS,
    "c": ("", "use `arstore ps --all`"),
    "t": ("", "use `arstore ps`"),
    "i": ("", "use `arstore images`"),
    "task": ("", "`arstore ps` lists running containers, `arstore exec` runs a command in one"),
    "tasks": ("", "`arstore ps` lists running containers, `arstore exec` runs a command in one"),
    "checkpoint": _CHECKPOINTS,
    "restore": _CHECKPOINTS,
    "debug": ("", "use `arstore exec -it ID sh`, or `arstore mount` and the host's tools"),
    "init": ("", "`arstore create` makes a container, `arstore start` starts it"),
    "port": ("", "use `arstore ps --format '{{.Names}} {{.Ports}}'`"),
    "runlabel": ("commands in labels are not run", "`arstore inspect --config IMAGE` shows the labels"),
    "update": _LIMITS,
    "sandbox": _SANDBOX,
    "sandboxes": _SANDBOX,
    "sb": _SANDBOX,
    "s": _SANDBOX,
    "pod": _PODS,
    "compose": _PODS,
    "kube": _PODS,
    "play": _PODS,
    "stack": _PODS,
    "quadlet": ("arstore does not write systemd units", "call `arstore run` in a unit of your own"),
    "generate": ("arstore does not write systemd units or Kubernetes files", "call `arstore run` in a unit"),
    "auto-update": ("arstore does not replace running containers", "use `arstore pull`, then `arstore run`"),
    # Networks, volumes, secrets.
    "network": _NETWORKS,
    "volume exists": ("", "use `arstore volume inspect NAME`, which ends with status 3 if there is no such volume"),
    "volume export": ("", "use tar(1) on the path that `arstore volume inspect NAME` prints"),
    "volume import": ("", "use tar(1) on the path that `arstore volume inspect NAME` prints"),
    "volume mount": _VOLUME_PATH,
    "volume unmount": _VOLUME_PATH,
    "volume reload": ("arstore has no plugins", "`arstore volume ls` lists the volumes"),
    "secret": _SECRETS,
    # Registries and signatures.
    "auth": ("", "`arstore login` stores credentials, `arstore logout` removes them"),
    "blob": _CONTENT,
    "catalog": ("arstore does not list the repositories of a registry", "`arstore list-tags` lists the tags of one"),
    "digest": ("", "`arstore inspect --json docker://NAME` prints an image's digest"),
    "manifest-digest": ("", "`arstore import FILE` and `arstore inspect IMAGE` print the digest"),
    "registry": ("arstore does not serve images", "`arstore save --format oci` writes a layout that other tools serve"),
    "validate": ("", "`arstore import` verifies every digest; `arstore check` verifies the store"),
    "standalone-sign": ("", "use `arstore sign --key FILE IMAGE`"),
    "standalone-verify": ("", "use `arstore verify --key FILE IMAGE`"),
    "generate-sigstore-key": ("", "use `arstore keygen PREFIX`"),
    "experimental-image-proxy": ("arstore does not serve images", ""),
    "append": ("", "use `arstore mount --rw IMAGE`, add the files, then `arstore commit ID NAME`"),
    "edit": _CONFIG,
    "mutate": _CONFIG,
    "flatten": ("", "use `arstore export IMAGE -o TAR`, then `arstore import --rootfs TAR NAME`"),
    "rebase": _BUILD,
    # umoci.
    "config": _CONFIG,
    "insert": ("", "use `arstore mount --rw IMAGE`, copy the files with cp(1), then `arstore commit ID NAME`"),
    "new": ("", "use `arstore import --rootfs TAR NAME`"),
    "raw": ("", "`arstore inspect --config IMAGE` and `arstore inspect --raw IMAGE` print documents"),
    "raw unpack": ("", "use `arstore unpack`"),
    "repack": ("", "use `arstore mount --rw IMAGE`, change the files, then `arstore commit ID NAME`"),
    "stat": ("", "use `arstore history IMAGE`, or `arstore inspect IMAGE`"),
    # The store and the host.
    "system": ("", "`arstore du` shows disk usage, `arstore gc` removes what is not in use"),
    "system df": ("", "use `arstore du`"),
    "system prune": ("", "use `arstore container prune`, then `arstore gc`"),
    "system check": ("", "use `arstore check`"),
    "system info": ("", "use `arstore info`"),
    "system events": ("arstore has no daemon that reports events", ""),
    "system reset": (
        "",
        "remove images with `arstore rm`, containers with `arstore container rm`, volumes with `arstore volume rm`",
    ),
    "system migrate": ("a newer arstore reads the store as it is", ""),
    "system renumber": ("a newer arstore reads the store as it is", ""),
    "system service": _NO_DAEMON,
    "system connection": _NO_DAEMON,
    "df": ("", "use `arstore du`"),
    "version": _VERSION,
    "help": ("", "use `arstore --help`, or `arstore COMMAND --help`"),
    "h": ("", "use `arstore --help`"),
    "events": ("arstore has no daemon that reports events", ""),
    "event": ("arstore has no daemon that reports events", ""),
    "machine": ("arstore does not manage virtual machines", ""),
    "context": _NO_DAEMON,
    "desktop": _NO_DAEMON,
    "plugin": _PLUGINS,
    "plugins": _PLUGINS,
    "extension": _PLUGINS,
    "scout": ("arstore does not look for vulnerabilities", "`arstore referrers IMAGE` lists SBOMs"),
    "scan": ("arstore does not look for vulnerabilities", "`arstore referrers IMAGE` lists SBOMs"),
    "sbom": ("arstore does not make SBOMs", "`arstore referrers IMAGE` lists those of an image"),
    "node": _SWARM,
    "service": _SWARM,
    "swarm": _SWARM,
    # containerd.
    "content": _CONTENT,
    "snapshot": _SNAPSHOTS,
    "snapshots": _SNAPSHOTS,
    "lease": _LEASES,
    "leases": _LEASES,
    "namespace": ("a store has one namespace", "use `arstore --root DIR` for another store"),
    "namespaces": ("a store has one namespace", "use `arstore --root DIR` for another store"),
    "ns": ("a store has one namespace", "use `arstore --root DIR` for another store"),
    "oci": ("", "`arstore run` makes the runtime's configuration"),
    "install": ("arstore does not install programs from images", "use `arstore unpack IMAGE DIR`"),
    "shim": _NO_DAEMON,
    "pprof": _NO_DAEMON,
    "deprecations": _NO_DAEMON,
    "apparmor": ("arstore does not manage AppArmor profiles", ""),
    "ipfs": ("arstore does not fetch from IPFS", ""),
    "internal": _NO_DAEMON,
}
