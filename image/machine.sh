# shellcheck shell=bash
# What this machine must be able to do before a build begins: programs, user namespaces, arm64 emulation. Sourced by image/build.
#
# Inputs:  `fail` and `in_namespace` of stage.sh; the machine.
# Outputs: none; where something is missing, one line that says what to do, and the build's end.

check_tools() {
  local tool
  local -a missing=()
  for tool in mmdebstrap tar mke2fs sfdisk mformat mcopy mkfs.vfat debugfs bmaptool xz gpg curl cargo git flock setsid unshare; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || fail "missing: ${missing[*]}; 'make image' installs what the build needs"
}

# An ordinary user gives files to other users, and mounts, as root of a user namespace. Some systems keep that from him.
check_namespace() {
  local restriction=/proc/sys/kernel/apparmor_restrict_unprivileged_userns user
  ((EUID != 0)) || return 0
  ! in_namespace unshare --mount --propagation private -- true 2>/dev/null || return 0
  # For an id without a name it prints the id, and fails.
  user=$(id --user --name 2>/dev/null) || true
  [[ ! -e $restriction || $(<"$restriction") == 0 ]] \
    || fail "this machine keeps user namespaces from $user; as root, run: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
  { grep --quiet "^$user:" /etc/subuid && grep --quiet "^$user:" /etc/subgid; } 2>/dev/null \
    || fail "$user has no user ids to lend; as root, run: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $user"
  fail "this machine gives $user no user namespace with mounts; run the build as root"
}

# arm64 programs run here through qemu-user, which the kernel has to know. Root registers it; others are told how.
check_binfmt() {
  local handler=/proc/sys/fs/binfmt_misc/qemu-aarch64 rule=/usr/lib/binfmt.d/qemu-aarch64.conf
  [[ $(uname --machine) != aarch64 ]] || return 0
  if ((EUID == 0)) && [[ ! -e $handler && -e $rule ]]; then
    [[ -e /proc/sys/fs/binfmt_misc/register ]] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null || true
    cat "$rule" >/proc/sys/fs/binfmt_misc/register 2>/dev/null || true
  fi
  grep --quiet '^flags:.*F' "$handler" 2>/dev/null \
    || fail "this machine can't run arm64 programs; install qemu-user-static and, as root, run: ${POSTHOUSE_BINFMT_HINT:-mount -t binfmt_misc none /proc/sys/fs/binfmt_misc; cat $rule > /proc/sys/fs/binfmt_misc/register}"
}
