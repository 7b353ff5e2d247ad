#!/usr/bin/env bash
# A Slurm of several virtual nodes on this machine, for tests. To be sourced by bash:
#
#   cluster_start FOLDER NODES CPUS [MODE]   starts it; all it writes is in FOLDER, whose path is short for the sake of sockets
#   cluster COMMAND...                       runs a command on its login host: sbatch, squeue, ...
#   cluster_crash NODE, cluster_boot NODE    power off, and on again (not in mode plain)
#   cluster_stop                             ends it; nothing is left but FOLDER
#
# Modes; without one the first that this machine allows is taken:
#   net    each host has network, host name, processes, /dev/shm and mounts of its own: a bridge that nothing else sees
#   ns     the same but for the network: 127.0.0.1, a port a node
#   plain  several slurmd side by side, as any user; one host name, so that MPI must not share memory between ranks
# Needs munge, slurmctld, slurmd, slurm-client, slurm-wlm-basic-plugins; for net and ns root and util-linux, for net iproute2.

export PATH=$PATH:/usr/sbin:/sbin

cluster_address() {
  case $cluster_mode,$1 in
    net,head) echo 10.77.0.1 ;;
    net,*) echo 10.77.0.$((10 + ${1#n})) ;;
    *) echo 127.0.0.1 ;;
  esac
}

# Tried, not asked: a container may grant some of it.
cluster_choose() {
  local try='mount -t tmpfs tmpfs /dev/shm && mount --bind /etc/hostname /etc/hosts && hostname try' spaces='--fork --pid --mount-proc --uts --mount --ipc'
  # shellcheck disable=SC2086 # options are words
  if [ "$(id -u)" != 0 ] || ! unshare $spaces sh -c "$try" 2>/dev/null; then
    echo plain
  elif unshare $spaces --net sh -c 'ip link add br0 type bridge && ip link add try0 type veth peer name try1' 2>/dev/null; then
    echo net
  else
    echo ns
  fi
}

cluster_configuration() {
  local node host port
  host='head'
  if [ "$cluster_mode" = plain ]; then host=$(hostname -s); fi
  cat <<CONF
ClusterName=test
SlurmctldHost=$host($(cluster_address head))
SlurmctldPort=$cluster_port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits as long as credentials are valid, by default 120 s
AuthInfo=socket=$cluster_folder/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$cluster_folder/state
SlurmdSpoolDir=$cluster_folder/spool/%n
SlurmctldPidFile=$cluster_folder/state/slurmctld.pid
SlurmdPidFile=$cluster_folder/spool/%n.pid
SlurmctldLogFile=$cluster_folder/log/slurmctld
SlurmdLogFile=$cluster_folder/log/slurmd.%n
# PMIx makes a folder of one name for a step: each node needs its own
TmpFS=$cluster_folder/tmp/%n
MailProg=/bin/true
# no control groups and no binding: all nodes would bind to the same cores
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
DebugFlags=NO_CONF_HASH
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdTimeout=5
BatchStartTimeout=5
KillWait=3
ReturnToService=2
JobRequeue=1
AccountingStorageType=accounting_storage/none
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE
CONF
  for node in $(seq "$cluster_nodes"); do
    port=$((cluster_port + 1))
    if [ "$cluster_mode" != net ]; then port=$((cluster_port + node)); fi
    if [ "$cluster_mode" != plain ]; then host=n$node; fi
    echo "NodeName=n$node NodeHostname=$host NodeAddr=$(cluster_address n"$node") Port=$port CPUs=$cluster_cpus RealMemory=1000"
  done
}

cluster_munge() {
  munged "$@" --key-file="$cluster_folder/munge/key" --socket="$cluster_folder/munge/socket" --pid-file="$cluster_folder/munge/pid" \
    --log-file="$cluster_folder/munge/log" --seed-file="$cluster_folder/munge/seed"
}

# The first process of a host: killed, it takes all others of its host with it.
cluster_host() {
  local name=$1 node
  hostname "$name" && ulimit -c 0
  while [ ! -e "$cluster_folder/run/$name.go" ]; do sleep 0.02; done
  {
    echo "127.0.0.1 localhost"
    if [ "$cluster_mode" = net ]; then
      for node in head $(seq -f n%g "$cluster_nodes"); do echo "$(cluster_address "$node") $node"; done
    else
      echo "127.0.0.1 $name"
    fi
  } >"$cluster_folder/run/$name.hosts"
  mount --bind "$cluster_folder/run/$name.hosts" /etc/hosts && mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit 1
  if [ "$cluster_mode" = net ]; then ip link set lo up; fi
  if [ "$name" = head ]; then
    cluster_munge -F &
    while [ ! -S "$cluster_folder/munge/socket" ]; do sleep 0.02; done
    slurmctld -D &
  else
    slurmd -D -N "$name" "${@:2}" &
  fi
  while [ -e "$cluster_folder/run" ]; do sleep 1; done # bash buries orphans
}

# The first process of a host as this host sees it: the child of the unshare that was started.
cluster_first() { ps -o pid= --ppid "$(cat "$cluster_folder/run/$1.pid")" 2>/dev/null | tr -d ' '; }

cluster_power_on() {
  local name=$1 first='' net=() here
  shift
  rm -rf "$cluster_folder/run/$name.go" "$cluster_folder/tmp/$name" "$cluster_folder/spool/$name" # leftovers of a step would keep it from being launched again
  mkdir -p "$cluster_folder/tmp/$name" "$cluster_folder/spool/$name"
  chmod 1777 "$cluster_folder/tmp/$name"
  if [ "$cluster_mode" = net ]; then net=(--net); fi
  here=$(readlink /proc/self/ns/uts)
  # it ends with this shell, however that ends
  setpriv --pdeathsig KILL setsid unshare --fork --pid --mount-proc --kill-child=KILL --uts --mount --ipc "${net[@]}" \
    bash "$cluster_script" host "$name" "$@" </dev/null >>"$cluster_folder/log/$name" 2>&1 3>&- &
  echo $! >"$cluster_folder/run/$name.pid"
  for _ in $(seq 250); do
    first=$(cluster_first "$name")
    if [ -n "$first" ] && [ "$(readlink "/proc/$first/ns/uts")" != "$here" ]; then break; fi
    sleep 0.02
  done
  if [ "$cluster_mode" = net ] && [ "$name" = head ]; then
    nsenter -t "$first" -n sh -c "ip link add br0 type bridge && ip address add $(cluster_address head)/24 dev br0 && ip link set br0 up" || return 1
  elif [ "$cluster_mode" = net ]; then
    nsenter -t "$(cluster_first head)" -n sh -c "ip link add $name type veth peer name eth0 netns $first && ip link set $name master br0 up" || return 1
    nsenter -t "$first" -n sh -c "ip address add $(cluster_address "$name")/24 dev eth0 && ip link set eth0 up" || return 1
  fi
  touch "$cluster_folder/run/$name.go"
}

cluster_crash() {
  local first
  first=$(cluster_first "$1")
  if [ -n "$first" ]; then kill -KILL "$first"; fi
  wait "$(cat "$cluster_folder/run/$1.pid")" 2>/dev/null
  rm -f "$cluster_folder/run/$1.pid"
}

# A node that is back too soon would not be missed, and its jobs would run for ever: it is said.
cluster_boot() {
  cluster scontrol update NodeName="$1" State=DOWN Reason=reboot
  cluster_power_on "$1" -b
}

cluster() {
  local first net=()
  if [ "$cluster_mode" = plain ]; then
    "$@"
    return
  fi
  if [ "$cluster_mode" = net ]; then net=(-n); fi
  first=$(cluster_first head)
  nsenter -t "$first" -p -m -u -i "${net[@]}" --wd="$PWD" -- "$@"
}

cluster_start() {
  local node
  export cluster_folder=$1 cluster_nodes=$2 cluster_cpus=$3 cluster_mode=${4:-}
  export cluster_port=${cluster_port:-$((17000 + ($$ % 300) * 20))} # two clusters may stand side by side
  if [ -z "$cluster_mode" ]; then cluster_mode=$(cluster_choose); fi
  export SLURM_CONF=$cluster_folder/slurm.conf
  if [ ${#cluster_folder} -gt 60 ]; then
    echo "cluster: the path $cluster_folder is too long" >&2
    return 1
  fi
  # This machine has no network to choose from, and fewer cores than the nodes believe.
  export OMPI_MCA_mpi_yield_when_idle=1
  if [ "$cluster_mode" != net ]; then export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo; fi
  if [ "$cluster_mode" = plain ]; then export OMPI_MCA_btl=self,tcp; fi
  umask 022
  mkdir -p "$cluster_folder"/{run,log,munge,state,spool,tmp}
  chmod 755 "$cluster_folder" "$cluster_folder/munge"
  (umask 077 && head -c 128 /dev/urandom >"$cluster_folder/munge/key")
  cluster_configuration >"$SLURM_CONF"
  echo "CgroupPlugin=cgroup/v1" >"$cluster_folder/cgroup.conf" # loaded even if unused; this one touches nothing
  if [ "$cluster_mode" = plain ]; then
    for node in $(seq -f n%g "$cluster_nodes"); do mkdir -p "$cluster_folder"/{spool,tmp}/"$node"; done
    { cluster_munge && slurmctld && for node in $(seq -f n%g "$cluster_nodes"); do slurmd -N "$node" || exit 1; done; } 3>&- || return 1
  else
    for node in head $(seq -f n%g "$cluster_nodes"); do cluster_power_on "$node" || return 1; done
  fi
  for _ in $(seq 300); do
    if [ "$(cluster timeout 5 sinfo -h -t idle -o %D 2>/dev/null)" = "$cluster_nodes" ]; then return 0; fi
    sleep 0.1
  done
  echo "cluster: the nodes do not come up:" >&2
  tail -n 5 "$cluster_folder"/log/* >&2
  return 1
}

# In mode plain: processes that have our configuration, known by that and not by their names.
cluster_processes() {
  local process
  for process in /proc/[0-9]*; do
    case $(cat "$process/comm" 2>/dev/null) in munged | slurmctld | slurmd | slurmstepd) ;; *) continue ;; esac
    if [ "$(awk '{ print $3 }' "$process/stat" 2>/dev/null)" != Z ] && tr '\0' '\n' <"$process/environ" 2>/dev/null | grep -qxF "SLURM_CONF=$SLURM_CONF"; then echo "${process#/proc/}"; fi
  done
}

cluster_stop() {
  local node signal
  if [ -z "${cluster_folder:-}" ] || [ ! -d "$cluster_folder/run" ]; then return 0; fi
  if [ "$cluster_mode" != plain ]; then # all processes of a host end with its first
    for node in $(seq -f n%g "$cluster_nodes") head; do
      if [ -e "$cluster_folder/run/$node.pid" ]; then cluster_crash "$node"; fi
    done
  else
    scancel -u "$(id -un)" --full 2>/dev/null
    for _ in $(seq 30); do
      if [ -z "$(squeue -h 2>/dev/null)" ]; then break; fi
      sleep 0.1
    done
    for signal in TERM TERM KILL; do
      for node in $(cluster_processes); do kill -$signal "$node" 2>/dev/null; done
      for _ in $(seq 20); do
        if [ -z "$(cluster_processes)" ]; then break; fi
        sleep 0.1
      done
    done
  fi
  rm -rf "$cluster_folder/run"
}

cluster_script=$(readlink -f "${BASH_SOURCE[0]}")
if [ "${1:-}" = host ] && [ "$0" = "${BASH_SOURCE[0]}" ]; then cluster_host "${@:2}"; fi
