#!/bin/sh
# Prints what a command in a container sees of itself, in sections.
section() { echo "== $*"; }
section status
grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask|Cpus_allowed_list|Mems_allowed_list|NSpid)' /proc/self/status |
    grep -v '^NSpid'
section identity
cat /proc/self/uid_map /proc/self/gid_map
id
section mounts
cat /proc/self/mountinfo
section limits
tail -n +2 /proc/self/limits
section environment
env
section directory
pwd
section host name
hostname
cat /proc/sys/kernel/domainname
cat /etc/hostname 2>/dev/null
section process
echo "oom_score_adj $(cat /proc/self/oom_score_adj)"
echo "personality $(cat /proc/self/personality)"
echo "first $(cat /proc/1/comm)"
section namespaces
for name in cgroup ipc mnt net pid user uts time; do echo "$name $(readlink /proc/self/ns/$name)"; done
section sysctls
cd /proc/sys
grep . kernel/msgmax kernel/shmmax kernel/shm_rmid_forced kernel/sem fs/mqueue/msg_max
grep . net/ipv4/ip_unprivileged_port_start net/ipv4/ping_group_range net/ipv4/ip_forward net/core/somaxconn
section control groups
for name in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes \
    memory/memory.swappiness memory/memory.oom_control cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares \
    cpu/cpu.rt_runtime_us cpu/cpu.rt_period_us cpuset/cpuset.cpus cpuset/cpuset.mems pids/pids.max blkio/blkio.weight \
    blkio/blkio.bfq.weight blkio/blkio.throttle.read_bps_device blkio/blkio.throttle.write_bps_device \
    blkio/blkio.throttle.read_iops_device blkio/blkio.throttle.write_iops_device devices/devices.list \
    memory.max memory.high memory.low memory.swap.max cpu.max cpu.weight cpuset.cpus cpuset.mems pids.max io.max io.weight; do
    [ ! -f "/sys/fs/cgroup/$name" ] || grep -H . "/sys/fs/cgroup/$name" | grep -v under_oom
done
cat /proc/self/cgroup
section network
ip -o addr
cat /etc/hosts /etc/resolv.conf 2>/dev/null
section users
cat /etc/passwd /etc/group 2>/dev/null
section devices
# /dev/pts and /dev/shm may be the host's, whose content changes meanwhile.
find /dev ! -path '/dev/pts/*' ! -path '/dev/shm/*' -exec stat -c '%n %A %u %g %t:%T' {} +
section places
cut -d ' ' -f 5 /proc/self/mountinfo | grep -vE '^/(proc|sys|dev)(/|$)' | sort -u | while read -r place; do
    stat -c '%n %A %u %g' "$place" 2>&1
done
stat -c '%n %A %u %g' /tmp /var/tmp /run /work /home/app 2>&1
ls -l /etc/localtime 2>/dev/null | sed 's/.* \/etc/\/etc/'
date +%Z
section descriptors
# Without $(...), whose pipe would be a descriptor of this shell.
for number in 0 1 2 3 4 5; do
    [ ! -L "/proc/$$/fd/$number" ] || { echo -n "$number " && readlink "/proc/$$/fd/$number"; }
done
