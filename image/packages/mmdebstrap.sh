# shellcheck shell=bash
# How mmdebstrap is called, by the stage that installs and by who renews the lock. Sourced after stage.sh, never run.
#
# Inputs:  BASE, $WORK/sources; POSTHOUSE_DEBIAN_MIRROR, POSTHOUSE_DEBIAN_KEYRING, POSTHOUSE_MMDEBSTRAP_OPTIONS.
# Outputs: functions.

# For arm64, with the settings that a person may change.
bootstrap() {
  local -a further
  read -r -a further <<<"${POSTHOUSE_MMDEBSTRAP_OPTIONS-}"
  [[ -z ${POSTHOUSE_DEBIAN_KEYRING-} ]] || further+=(--keyring="$POSTHOUSE_DEBIAN_KEYRING")
  mmdebstrap --architectures=arm64 --components=main,non-free-firmware --skip=check/qemu "$@" "${further[@]}"
}

# Installs nothing: apt's view of the archives, for a hook to ask.
bootstrap_nothing() {
  bootstrap --mode=chrootless --variant=custom --skip=check/chrootless --format=null "$@" \
    trixie /dev/null ${POSTHOUSE_DEBIAN_MIRROR+"$POSTHOUSE_DEBIAN_MIRROR"}
}

# Hooks, a line each, that let apt see the Raspberry Pi archive, pinned.
raspios_hooks() {
  [[ $BASE == raspios ]] || return 0
  printf -- "--setup-hook=copy-in '%s' /etc/apt/%s\n" \
    "$WORK/sources/raspios.sources" sources.list.d "$WORK/sources/raspios.pref" preferences.d
}

# The sources that mmdebstrap chooses: asked of itself, which is ended before it uses them.
debian_sources() {
  local file=$WORK/tmp/debian.list
  rm --force "$file"
  bootstrap_nothing --setup-hook="cp \"\$1/etc/apt/sources.list\" '$file'; exit 1" >"$WORK/tmp/sources.log" 2>&1 || true
  [[ -s $file ]] || fail "mmdebstrap names no source of packages: $(tail --lines=1 "$WORK/tmp/sources.log")"
  echo "$file"
}
