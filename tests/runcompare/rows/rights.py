"""Capabilities, seccomp and masks; limits."""

from __future__ import annotations

from runcompare.row import Row, probing, scripts


def rows() -> list[Row]:
    """Return the rows of both themes."""
    theme = "capabilities and seccomp"
    words = (
        "--cap-add all",
        "--cap-drop all",
        "--cap-drop all --cap-add CHOWN",
        "--cap-drop ALL --cap-add CAP_NET_BIND_SERVICE -u app",
        "--cap-add sys_ptrace,cap_sys_admin",
        "--cap-add all --cap-drop NET_RAW",
        "--security-opt seccomp=unconfined",
        "--security-opt seccomp=seccomp.json",
        "--security-opt no-new-privileges:true -u app",
        "--security-opt unmask=ALL",
        "--security-opt unmask=/proc/acpi:/sys/firmware",
        "--security-opt mask=/proc/cpuinfo:/work",
        "--security-opt label=disable",
        "--security-opt apparmor=unconfined",
        "--security-opt proc-opts=hidepid=2",
        "--privileged --cap-drop NET_RAW",
        "--privileged --security-opt seccomp=seccomp.json",
    )
    cases = (
        ("unknown capability", "run --cap-add NOTHING plain true"),
        ("unknown security option", "run --security-opt nothing=1 plain true"),
        ("missing seccomp profile", "run --security-opt seccomp=nothing.json plain true"),
        ("broken seccomp profile", "run --security-opt seccomp=variables plain true"),
        ("seccomp denies", "run plain mount -t tmpfs none /mnt"),
        ("seccomp profile denies", "run --security-opt seccomp=seccomp.json plain mkdir /work/x"),
        ("a port below 1024 as app", "run -u app plain timeout 1 nc -l -p 80"),
        ("the same capability added and dropped", "run --cap-add CHOWN --cap-drop CHOWN plain probe"),
    )
    return [*probing(theme, words), *scripts(theme, cases), *_limits()]


def _limits() -> list[Row]:
    theme = "limits"
    words = (
        "-m 32m",
        "-m 64m --memory-swap -1",
        "-m 64m --memory-swap 64m",
        "--memory 67108864",
        "--cpus 1.5",
        "--cpu-shares 100 --cpuset-cpus 0-1",
        "--pids-limit -1",
        "--pids-limit 0",
        "--ulimit nofile=50",
        "--ulimit core=0 --ulimit nproc=100:200",
        "--ulimit cpu=10:20 --ulimit fsize=1000000",
        "--ulimit host",
        "--ulimit nofile=-1:-1",
        "--shm-size 1m",
        "--shm-size 0",
        "--cpu-period 100000 --cpu-quota 150000",
        "--oom-score-adj -100",
    )
    cases = (
        ("unknown unit", "run -m 1x plain true"),
        ("too small", "run -m 1k plain true"),
        ("no number", "run --cpus some plain true"),
        ("negative cpus", "run --cpus -1 plain true"),
        ("unknown ulimit", "run --ulimit nothing=1 plain true"),
        ("soft above hard", "run --ulimit nofile=200:100 plain true"),
        ("out of memory", "run -m 16m plain sh -c 'dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null'"),
        ("out of processes", "run --pids-limit 2 plain sh -c 'sleep 1 & sleep 1 & sleep 1 & wait' 2>/dev/null"),
        ("swap without memory", "run --memory-swap 64m plain true"),
        ("swap below memory", "run -m 64m --memory-swap 32m plain true"),
        ("unknown processor", "run --cpuset-cpus 4096 plain true"),
        ("file too large", "run --ulimit fsize=1000 plain sh -c 'yes >/work/x'"),
    )
    return [*probing(theme, words), *scripts(theme, cases)]
