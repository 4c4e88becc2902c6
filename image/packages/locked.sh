# shellcheck shell=bash
# Which packages are installed: the lock's, or what the archives have now. Sourced by the stage 20-packages, never run.
#
# Inputs:  $LOCK_FILE, LOCK, SOURCE_DATE_EPOCH; what the stage lists.
# Outputs: functions; $WORK/packages.lock or $WORK/unlocked; $WORK/packages.epoch.

# Copies the lock, or says why there is none to keep to.
choose_lock() {
  rm --force "$WORK/packages.lock" "$WORK/unlocked"
  if [[ $LOCK != off && -e $LOCK_FILE ]]; then
    cp "$LOCK_FILE" "$WORK/packages.lock"
    return
  fi
  if [[ $LOCK == off ]]; then
    echo "${POSTHOUSE_UNLOCKED_BECAUSE:-asked for by LOCK=off}" >"$WORK/unlocked"
  else
    echo "base $BASE has no lock; 'make lock' writes one" >"$WORK/unlocked"
  fi
  warn "UNLOCKED: the packages are what the archives have now ($(<"$WORK/unlocked"))"
}

describe() {
  local count
  count=$(grep --count '^Package:' "$WORK/packages.stanzas")
  if [[ -e $WORK/packages.lock ]]; then echo "$count packages by the lock"; else echo "$count packages, UNLOCKED"; fi
}

# What is made of the packages bears the time at which the lock was written, not that of the commit that it is first built for: a
# day before the lock's snapshot (image/tool/src/lock/renew.rs). It has to be past, as only later times are set back to it.
settle_epoch() {
  local time=$SOURCE_DATE_EPOCH
  [[ ! -e $WORK/packages.lock ]] || time=$(date --date="$(sed --quiet --regexp-extended \
    's/^snapshot = "(.{4})(..)(..)T(..)(..)(..)Z"/\1-\2-\3T\4:\5:\6Z/p' "$WORK/packages.lock") - 24 hours" +%s)
  echo "$time" >"$WORK/packages.epoch"
}

# The lock's .debs as an archive. Where one can't be had any more, LOCK=prefer goes on with what there is.
gather() {
  local status=0
  local -a sources
  sources=("$(debian_sources)")
  [[ $BASE != raspios ]] || sources+=("$WORK/sources/raspios.sources")
  "$TOOL" lock gather --lock "$WORK/packages.lock" --sources "${sources[@]}" --cache "$CACHE/debs" --folder "$1" \
    2>"$WORK/tmp/gather.log" || status=$?
  cat "$WORK/tmp/gather.log" >&2
  ((status != 0)) || return 0
  [[ $status == 3 && $LOCK == prefer ]] || exit 1
  rm --recursive --force "$1"
  POSTHOUSE_UNLOCKED_BECAUSE=$(sed 's/^posthouse image: //' "$WORK/tmp/gather.log") LOCK=off exec "$0"
}
