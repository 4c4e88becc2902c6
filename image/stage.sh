# shellcheck shell=bash
# What the build and every stage share: messages, the cache and the namespace. Sourced, never run.
#
# Inputs:  what prepare.sh has settled.
# Outputs: functions.

fail() {
  printf 'posthouse image: %s\n' "$*" >&2
  exit 1
}

# A stage says in a few words what it did; the build prints it on the stage's line.
note() {
  printf '%s' "$*" >"$WORK/note"
}

# What a person should know although the stage goes on; the build prints it below the stage's line.
warn() {
  printf '%s\n' "$*" >>"$WORK/warnings"
}

# Runs a command as root, or as an ordinary user in a user namespace where files may belong to any id.
in_namespace() {
  if ((EUID == 0)); then
    "$@"
  else
    unshare --map-auto --map-root-user -- "$@"
  fi
}

# The key of a stage's inputs: the settings that reach packages, and the content of the named files and folders.
key_of() {
  {
    printf '%s\n' "$BASE" "$PROFILE" "${POSTHOUSE_DEBIAN_MIRROR-}" "${POSTHOUSE_RASPIOS_MIRROR-}" "${POSTHOUSE_MMDEBSTRAP_OPTIONS-}"
    [[ -z ${POSTHOUSE_DEBIAN_KEYRING-} ]] || sha256sum <"$POSTHOUSE_DEBIAN_KEYRING"
    find "$@" -type f -print0 | sort --zero-terminated | xargs --null sha256sum | sed "s|$WORK/||; s|$POSTHOUSE_ROOT/||"
  } | sha256sum | cut --characters=1-32
}

# Puts a cached stage's files into a folder; false when there are none.
from_cache() {
  local stage=$1 key=$2 into=$3
  [[ -z ${POSTHOUSE_FRESH-} && -d $CACHE/$stage/$key ]] || return 1
  cp --recursive --reflink=auto "$CACHE/$stage/$key/." "$into" || return 1
  # The newest are kept. A cache that can only be read is one too.
  touch "$CACHE/$stage/$key" 2>/dev/null || true
}

# Keeps a stage's files under their key, all or nothing, and forgets all but the newest three. The build never needs it, nor that
# somebody else's can be forgotten.
into_cache() {
  local stage=$1 key=$2 fresh='' old
  shift 2
  if ! { mkdir --parents "$CACHE/$stage" && fresh=$(mktemp --directory "$CACHE/$stage/.fresh-XXXXXX") \
    && cp --recursive --reflink=auto "$@" "$fresh" && rm --recursive --force "${CACHE:?}/$stage/$key" \
    && mv "$fresh" "$CACHE/$stage/$key"; } 2>"$WORK/tmp/cache.log"; then
    [[ -z $fresh ]] || rm --recursive --force "$fresh"
    warn "this stage is not in the cache for the next build: $(tail --lines=1 "$WORK/tmp/cache.log")"
    return 0
  fi
  # Names are hexadecimal, so a list by time is safe to read.
  # shellcheck disable=SC2012
  ls --sort=time "$CACHE/$stage" | tail --lines=+4 | while read -r old; do
    rm --recursive --force "${CACHE:?}/$stage/$old" || true
  done
}

# A package list without its comments, joined by commas.
package_names() {
  sed --regexp-extended 's/#.*//; /^[[:space:]]*$/d; s/[[:space:]]//g' "$@" | paste --serial --delimiters=,
}

# The lists that say what is installed.
package_lists() {
  printf '%s\n' "$POSTHOUSE_ROOT/image/packages"/{base,"$BASE"}.list
  [[ $PROFILE != dev ]] || echo "$POSTHOUSE_ROOT/image/packages/dev.list"
}

# What they ask for.
wanted_packages() {
  local -a lists
  mapfile -t lists < <(package_lists)
  package_names "${lists[@]}"
}

# Start and size of a partition in bytes, as the card's layout has them.
partition() {
  sed --quiet --regexp-extended 's/^start=([0-9]+), size=([0-9]+),.*/\1 \2/p' "$POSTHOUSE_ROOT/image/disk/layout.sfdisk" \
    | awk -v number="$1" 'NR == number { print $1 * 512, $2 * 512; found = 1 } END { exit !found }' \
    || fail "image/disk/layout.sfdisk gives partition $1 no start and size"
}
