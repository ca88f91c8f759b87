"""Options of docker, podman, buildah, skopeo and umoci that commands of the same name lack here.

Each row has the commands ("" is the program itself), the options, the reason ("" for none) and the hint. A hint names
only options that exist for all commands of its row. A row is not used for an option that the command has, nor for a
command that does not exist.
"""

from __future__ import annotations

_READ_JSON = "use --json, and jq(1) to select from it"
_EACH = "name each one; `arstore ps --all --quiet` prints the ids"
_LATEST = "give its id, which `arstore ps --latest --quiet` prints"
_SOURCES = frozenset({"import", "pull", "push", "copy", "sync", "index push", "save"})
_WITH_REGISTRY = frozenset({"copy", "sync", "push", "pull", "index push"})
_LOOKS = frozenset({"inspect", "list-tags", "delete"})
_IDS = frozenset(
    {"logs", "exec", "kill", "stop", "wait", "container rm", "commit", "diff", "mount", "start", "restart", "pause"}
    | {"unpause", "top", "stats", "attach", "cp", "rename"}
)
_MANY = frozenset({"kill", "stop", "wait", "start", "restart", "pause", "unpause", "stats"})
_CREATES = frozenset({"run", "create"})
_VOLUMES = frozenset({"volume create", "volume inspect", "volume ls", "volume rm", "volume prune"})
_RUN = frozenset({"run", "create", "load"})
_NO_NETWORK = "there are no named networks"

OPTIONS: tuple[tuple[frozenset[str], str, str, str], ...] = (
    (frozenset({"unshare"}), "--mount -m --rootless-netns", "", "mount in it: `arstore mount` works there"),
    # The program.
    (frozenset({""}), "-v", "", "use --version"),
    (frozenset({""}), "--debug -D --syslog --verbose --log", "", "use --log-level debug"),
    (frozenset({""}), "-l", "", "use --log-level"),
    (frozenset({""}), "--imagestore", "", "use --additional-store DIR"),
    (frozenset({""}), "--storage-driver --storage-opt --transient-store", "the store has one format", "use --root DIR"),
    (frozenset({""}), "--runtime", "", "give it to the command: `arstore run --runtime PATH`"),
    (
        frozenset({""}),
        "--policy --insecure-policy --registries --registries-conf --registries-conf-dir --short-name-alias-conf",
        "",
        "give it to the command, as in `arstore pull --policy FILE`",
    ),
    (
        frozenset({""}),
        "--override-arch --override-os --override-variant",
        "",
        "give it to the command, as in `arstore pull --platform OS/ARCH`",
    ),
    (frozenset({""}), "--command-timeout", "", "use timeout(1)"),
    (frozenset({""}), "--tmpdir", "imports write below the root only", "use --root DIR"),
    (
        frozenset({""}),
        "-H --host -c --connection --context -r --remote --url --identity --ssh --tls --tlsverify --tlscacert "
        "--tlscert --tlskey --tls-ca --tls-cert --tls-key --events-backend",
        "arstore has no daemon and no remote hosts",
        "use --root DIR for another store",
    ),
    (
        frozenset({""}),
        "--module --cgroup-manager --conmon --cdi-spec-dir --hooks-dir --network-cmd-path "
        "--network-config-dir --runtime-flag --volumepath --user-agent-prefix --out --userns-gid-map "
        "--userns-uid-map",
        "arstore has no such setting",
        "see `arstore run --help` for the settings of a container",
    ),
    # Lists.
    (frozenset({"history"}), "-q --quiet", "", _READ_JSON),
    (frozenset({"images"}), "--digests --tree --history", "", "`arstore images --json` prints digests"),
    (frozenset({"ps"}), "-n", "", "use --last N"),
    (
        frozenset({"ps"}),
        "--external --ns --pod -p --sync",
        "arstore has no pods, and no containers of other tools",
        "",
    ),
    (frozenset({"ps"}), "-w --watch", "", "use watch(1) to repeat it"),
    (
        frozenset({"history", "mount", "diff", "info"}),
        "-f --filter --format --sort",
        "",
        _READ_JSON,
    ),
    (
        frozenset({"history", "mount"}),
        "--no-trunc --noheading -H --human",
        "",
        "--json prints whole values",
    ),
    (frozenset({"info"}), "-d --debug", "", _READ_JSON),
    (frozenset({"container prune"}), "--filter", "", _EACH),
    (_VOLUMES, "-f --filter --format -n --noheading", "", _READ_JSON),
    (frozenset({"container rm"}), "-v --volumes", "anonymous volumes are removed with it", ""),
    (
        _VOLUMES,
        "-a --all -o --opt --uid --gid -t --time",
        "a volume is a directory of the store",
        "see `arstore --help` for other commands on it",
    ),
    (frozenset({"inspect"}), "-n --no-tags", "tags are not listed", "use `arstore list-tags` for them"),
    (frozenset({"history"}), "--platform", "the steps are those of this host's platform", ""),
    # Containers by id.
    (_MANY, "-a --all -f --filter --running", "", _EACH),
    (
        frozenset({"rm"}),
        "-a --all --cidfile --depend --filter -i --ignore -l --latest --link -t --time -v --volumes",
        "`arstore rm` removes images",
        "`arstore container rm` removes containers, `arstore gc` images without a name",
    ),
    (
        frozenset({"container rm"}),
        "-a --all --depend --filter -i --ignore --link",
        "",
        _EACH,
    ),
    (frozenset({"stop"}), "-s --signal", "", "set it with `arstore run --stop-signal`, or use `arstore kill --signal`"),
    (frozenset({"stop"}), "--timeout", "", "use --time"),
    (frozenset({"stop", "wait"}), "-i --ignore --interval", "", "not needed: containers that have ended are accepted"),
    (frozenset({"wait"}), "--condition --exit-first-match", "it waits until the containers have ended", ""),
    (_IDS | {"inspect", "container inspect"}, "-l --latest", "", _LATEST),
    (_IDS, "--cidfile", "", _EACH),
    (
        frozenset({"logs"}),
        "--color --colors --details",
        "lines are printed as the container wrote them",
        "--names and --timestamps tell them apart",
    ),
    (frozenset({"mount"}), "-a --all", "", "`arstore mounts` lists the mounts"),
    (
        frozenset({"exec"}),
        "--privileged --no-session --preserve-fd --preserve-fds",
        "the command gets the rights and streams of the container",
        "",
    ),
    (
        frozenset({"commit"}),
        "-p --pause --no-pause",
        "the container is not paused",
        "use `arstore pause` before, and `arstore unpause` afterwards",
    ),
    (frozenset({"commit"}), "-q --quiet --iidfile", "", "use --json: it prints the digest"),
    (frozenset({"commit"}), "-s --squash", "", "use `arstore export`, then `arstore import --rootfs`"),
    (frozenset({"commit"}), "--authfile --cert-dir --creds --tls-verify", "", "use `arstore push` afterwards"),
    (frozenset({"commit"}), "--sign-by --identity-label", "", "use `arstore sign` afterwards"),
    (frozenset({"commit"}), "--encryption-key --encrypt-layer", "", "use `arstore push --encryption-key` afterwards"),
    (frozenset({"commit"}), "--manifest", "", "use `arstore index add` afterwards"),
    (frozenset({"commit"}), "-D --disable-compression", "", "use --compression none"),
    (frozenset({"commit"}), "--config --annotation --unsetannotation --unsetenv", "", "use --change"),
    (
        frozenset({"commit"}),
        "-f --format",
        "images are written in OCI's format",
        "`arstore copy --format` converts them",
    ),
    (frozenset({"commit"}), "--rm", "", "use `arstore container rm` afterwards"),
    (
        frozenset({"commit"}),
        "--include-volumes --add-file --created-annotation --cw --omit-history --pull --rewrite-timestamp "
        "--source-date-epoch --timestamp --sbom --sbom-image-output --sbom-image-purl-output --sbom-merge-strategy "
        "--sbom-output --sbom-purl-output --sbom-scanner-command --sbom-scanner-image",
        "it writes the container's changes as one layer, with the times that the files have",
        "",
    ),
    # Images from and to other places.
    (_SOURCES, "-q --quiet", "", "put it before the command: `arstore --quiet`"),
    (
        frozenset({"load"}),
        "--platform",
        "`arstore load` runs a pipeline image",
        "to bring in an archive, use `arstore import --platform`",
    ),
    (frozenset({"import", "pull"}), "--arch --os --variant", "", "use --platform OS/ARCH[/VARIANT]"),
    (frozenset({"pull"}), "-a --all-tags", "", "use `arstore sync docker://REPOSITORY store:`"),
    (frozenset({"push"}), "--all-tags", "", "push each name"),
    (frozenset({"pull"}), "--remove-signatures", "", "use `arstore copy --remove-signatures`"),
    (frozenset({"copy", "sync", "push"}), "-a --all --multi-arch", "", "use --all-platforms"),
    (_WITH_REGISTRY | _LOOKS, "--registry-token", "", "use --creds, or `arstore login`"),
    (_WITH_REGISTRY | _LOOKS, "--username --password", "", "use --creds USER:PASSWORD, or `arstore login`"),
    (
        _WITH_REGISTRY | _LOOKS | _RUN,
        "--retry --retry-delay --retry-times",
        "requests are always repeated after errors that may pass",
        "",
    ),
    (_WITH_REGISTRY | _RUN, "--disable-content-trust", "", "policies decide: see --policy"),
    (frozenset({"push", "copy", "sync"}), "--digestfile", "", "use --json: it prints the digests"),
    (
        frozenset({"push", "copy", "sync"}),
        "--sign-by-sigstore --sign-by-sigstore-private-key --sign-by-sq-fingerprint",
        "",
        "use --sign-by-key FILE, or --sign-by KEY for OpenPGP",
    ),
    (frozenset({"push", "copy", "sync"}), "-f", "", "use --format"),
    (
        frozenset({"push", "copy", "save"}),
        "--compress --compression-format --dest-compress --dest-compress-format --force-compression "
        "--dest-force-compress-format",
        "",
        "use --compression gzip, zstd or none",
    ),
    (
        frozenset({"push", "copy", "save"}),
        "-D --disable-compression --dest-decompress --uncompressed",
        "",
        "use --compression none",
    ),
    (frozenset({"copy"}), "--dest-compress-level", "", "use --compression-level"),
    (frozenset({"push"}), "--rm", "", "use `arstore rm` afterwards"),
    (frozenset({"save"}), "-m --multi-image-archive", "any number of images is written to one archive", ""),
    (
        frozenset({"copy", "sync"}),
        "--src-username --src-password --src-registry-token",
        "",
        "use --src-creds USER:PASSWORD, or `arstore login`",
    ),
    (
        frozenset({"copy", "sync"}),
        "--dest-username --dest-password --dest-registry-token",
        "",
        "use --dest-creds USER:PASSWORD, or `arstore login`",
    ),
    (frozenset({"copy", "sync"}), "--src-authfile --dest-authfile", "", "use --authfile for both"),
    (frozenset({"copy", "sync"}), "--src-cert-dir --dest-cert-dir", "", "use --cert-dir for both"),
    (frozenset({"copy", "sync"}), "--src-tls-verify --dest-tls-verify", "", "use --tls-verify for both"),
    (frozenset({"copy", "sync"}), "--src-no-creds --dest-no-creds", "", "use --no-creds for both"),
    (
        frozenset({"copy", "delete", "inspect"}),
        "--src-daemon-host --dest-daemon-host --daemon-host",
        "arstore does not use Docker's daemon",
        "use `docker save`, then `arstore import FILE`",
    ),
    (
        frozenset({"copy"}),
        "--add-history --checksum --chmod --chown --contextdir --exclude --from --ignorefile --link --parents "
        "--timestamp",
        "`arstore copy` copies whole images",
        "to add files to an image, use `arstore mount --rw IMAGE`, cp(1), and `arstore commit ID NAME`",
    ),
    (frozenset({"copy"}), "--additional-tag", "", "copy it again with the other name: blobs are not copied twice"),
    (
        frozenset({"copy", "delete", "inspect"}),
        "--image-parallel-copies --dest-oci-accept-uncompressed-layers --dest-precompute-digests --src-shared-blob-dir "
        "--dest-shared-blob-dir --shared-blob-dir",
        "arstore has no such setting",
        "",
    ),
    (frozenset({"sync"}), "--append-suffix", "names stay the same", "use `arstore tag` afterwards"),
    (frozenset({"login"}), "-p --password --secret", "", "use --password-stdin: options are visible to other users"),
    (frozenset({"login"}), "-v --verbose", "", "use `arstore --log-level debug login`"),
    (frozenset({"logout"}), "-a", "", "use --all"),
    (frozenset({"logout"}), "--tls-verify", "it does not connect to the registry", ""),
    (frozenset({"login", "logout"}), "--compat-auth-file", "", "use --authfile: Docker reads the same format"),
    # umoci.
    (frozenset({"unpack", "tag", "rm"}), "--image", "images are in the store", "give the image as an argument"),
    (
        frozenset({"unpack"}),
        "--rootless --uid-map --gid-map --keep-dirlinks",
        "without root, the files belong to this user",
        "",
    ),
    (frozenset({"gc"}), "--layout", "", "use `arstore --root DIR gc`"),
    # `run`.
    (
        _RUN,
        "--network-alias --net-alias --link --link-local-ip",
        _NO_NETWORK,
        "use --network private or --network host, and --add-host for names",
    ),
    (_RUN, "--dns-opt", "", "use --dns-option"),
    (_RUN, "--domainname", "the kernel's domain name is not set", "use --dns-search DOMAIN for the search domain"),
    (frozenset({"load"}), "--hostname", "", "the host name is the container's id"),
    (_CREATES, "--rootfs", "", "use `arstore import --rootfs TAR NAME` first"),
    (frozenset({"create"}), "--init-ctr", "a container runs by itself", ""),
    (frozenset({"create"}), "--rmi", "", "use `arstore rm` afterwards"),
    (
        _CREATES,
        "--pod-id-file",
        "",
        "`arstore run --detach` prints the id; choose it with --name",
    ),
    (
        frozenset({"create"}),
        "-a --attach --detach-keys --sig-proxy",
        "the streams are chosen when the container is started",
        "give it to `arstore start`",
    ),
    (
        _RUN,
        "--volume-driver",
        "",
        "use -v SRC:DST, or --tmpfs PATH",
    ),
    (_RUN, "--secret", "arstore does not store secrets", "use --env-file, or mount a file with -v"),
    (frozenset({"load"}), "--tz", "", "use -e TZ=ZONE"),
    (
        _RUN,
        "--cpu-count --cpu-percent",
        "",
        "use --cpus N to limit the CPUs",
    ),
    (_RUN, "--kernel-memory", "", "use --memory N, which includes the kernel's"),
    (_RUN, "--io-maxbandwidth", "", "use --device-read-bps and --device-write-bps"),
    (_RUN, "--io-maxiops", "", "use --device-read-iops and --device-write-iops"),
    (frozenset({"load"}), "--gpus", "", "use --device PATH for each device"),
    (
        frozenset({"load"}),
        "--no-healthcheck --health-cmd --health-interval --health-on-failure --health-retries --health-start-period "
        "--health-timeout",
        "a pipeline's health is not checked",
        "",
    ),
    (
        _RUN,
        "--health-start-interval",
        "",
        "see `arstore run --health-startup-interval`",
    ),
    (frozenset({"prune"}), "-a --all -f --force", "it asks nothing, and removes by last use", "use --unused-for AGE"),
    (_RUN, "--pod --use-api-socket", "a container runs by itself", ""),
    (frozenset({"load"}), "--systemd --sdnotify", "a container runs by itself", ""),
    (frozenset({"load"}), "--read-only-tmpfs", "", "use --tmpfs PATH"),
    (_RUN, "--storage-opt", "", "use --tmpfs PATH, or --shm-size N"),
    # buildah run.
    (_RUN, "--workingdir", "", "see `arstore run --workdir`"),
    (_RUN, "--terminal", "", "see `arstore run --tty`"),
    (_RUN, "--runtime-flag --no-pivot --contextdir --add-history --isolation", "arstore has no such setting", ""),
)
