# shellcheck shell=bash
# What the build and every stage share: the environment, messages and the cache. Sourced, never run.
#
# Inputs:  BASE, VERSION, PROFILE and the POSTHOUSE_* variables that image/README.md lists.
# Outputs: BASE and BASE_REASON settled, VERSION, COMMIT, SOURCE_DATE_EPOCH, DISK_ID, WORK, CACHE, DIST, TOOL, IMAGE_NAME.

fail() {
  printf 'posthouse image: %s\n' "$*" >&2
  exit 1
}

# A stage says in a few words what it did; the build prints it on the stage's line.
note() {
  printf '%s' "$*" >"$WORK/note"
}

prepare_environment() {
  export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8 TZ=UTC
  umask 022
  (cd "$POSTHOUSE_ROOT" && cargo build --quiet --locked --package posthouse-image) \
    || fail 'cargo could not build posthouse-image; its lines above say why. If it reached no registry, run this again when it does'
  export TOOL=${CARGO_TARGET_DIR:-$POSTHOUSE_ROOT/target}/debug/posthouse-image
  local folder=${POSTHOUSE_WORK_DIR:-$POSTHOUSE_ROOT/target/image} settled
  # A stage that is run again alone belongs to the build that the folder holds, whatever was committed since.
  if [[ -n ${POSTHOUSE_ONLY-} ]]; then
    settled=$(cat "$folder/settled") || fail "no build in $folder to run a stage of; build the image first"
  else
    settled=$("$TOOL" settle --root "$POSTHOUSE_ROOT" --base "${BASE:-auto}" --version "${VERSION-}" \
      --profile "${PROFILE:-release}") || exit 1
    { mkdir --parents "$folder" && echo "$settled" >"$folder/settled"; } || fail "cannot write to $folder"
  fi
  # One NAME='value' a line.
  set -o allexport
  eval "$settled"
  WORK=$folder/$BASE-$PROFILE
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/posthouse/image
  DIST=${POSTHOUSE_DIST_DIR:-$POSTHOUSE_ROOT/dist}
  set +o allexport
  mkdir --parents "$WORK/logs" "$WORK/tmp" "$CACHE" || fail "cannot write to $WORK and $CACHE"
}

# What an earlier, killed run left. Never follows a mount out of the folder.
clean_leftovers() {
  in_namespace rm --recursive --force --one-file-system "$WORK/tmp" "$WORK/initramfs"
  rm --recursive --force "$DIST"/.posthouse-*
  # Half a copy, of a build that was killed or met a full disk; an hour old, so that it is no other build's.
  [[ ! -d $CACHE ]] || find "$CACHE" -maxdepth 2 -name '.fresh-*' -mmin +60 -exec rm --recursive --force {} +
  mkdir --parents "$WORK/tmp"
}

# Runs a command as root, or as an ordinary user in a user namespace where files may belong to any id.
in_namespace() {
  if ((EUID == 0)); then
    "$@"
  else
    unshare --map-auto --map-root-user -- "$@"
  fi
}

# The key of a stage's inputs: the base and the content of the named files and folders.
key_of() {
  {
    printf '%s\n' "$BASE" "$PROFILE" "${POSTHOUSE_DEBIAN_MIRROR-}" "${POSTHOUSE_RASPIOS_MIRROR-}"
    find "$@" -type f -print0 | sort --zero-terminated | xargs --null sha256sum | sed "s|$POSTHOUSE_ROOT/||"
  } | sha256sum | cut --characters=1-32
}

# Puts a cached stage's files into a folder; false when there are none.
from_cache() {
  local stage=$1 key=$2 into=$3
  [[ -z ${POSTHOUSE_FRESH-} && -d $CACHE/$stage/$key ]] || return 1
  cp --recursive --reflink=auto "$CACHE/$stage/$key/." "$into" && touch "$CACHE/$stage/$key"
}

# Keeps a stage's files under their key, all or nothing, and forgets all but the newest three.
into_cache() {
  local stage=$1 key=$2 fresh old
  shift 2
  mkdir --parents "$CACHE/$stage"
  fresh=$(mktemp --directory "$CACHE/$stage/.fresh-XXXXXX")
  cp --recursive --reflink=auto "$@" "$fresh"
  rm --recursive --force "${CACHE:?}/$stage/$key"
  mv "$fresh" "$CACHE/$stage/$key"
  # Names are hexadecimal, so a list by time is safe to read.
  # shellcheck disable=SC2012
  ls --sort=time "$CACHE/$stage" | tail --lines=+4 | while read -r old; do rm --recursive --force "${CACHE:?}/$stage/$old"; done
}

# A package list without its comments, joined by commas.
package_names() {
  sed --regexp-extended 's/#.*//; /^[[:space:]]*$/d; s/[[:space:]]//g' "$@" | paste --serial --delimiters=,
}
