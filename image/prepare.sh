# shellcheck shell=bash
# What has to be in place before the first stage: the environment, a clean work folder, a lock that fits. Sourced after stage.sh by
# image/build and image/renew-lock, never run.
#
# Inputs:  BASE, VERSION, SEQ, PROFILE, LOCK, UPDATE_ROOT and the POSTHOUSE_* variables that image/README.md lists.
# Outputs: BASE and BASE_REASON settled, VERSION, LOCK, COMMIT, SOURCE_DATE_EPOCH, DISK_ID, WORK, CACHE, DIST, LOCK_FILE, TOOL,
#          IMAGE_NAME.

prepare_environment() {
  export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C.UTF-8 TZ=UTC
  umask 022
  (cd "$POSTHOUSE_ROOT" && cargo build --quiet --locked --package posthouse-image) \
    || fail 'cargo could not build posthouse-image; its lines above say why. If it reached no registry, run this again when it does'
  export TOOL=${CARGO_TARGET_DIR:-$POSTHOUSE_ROOT/target}/debug/posthouse-image
  local folder=${POSTHOUSE_WORK_DIR:-$POSTHOUSE_ROOT/target/image} settled lock=strict
  # It installs more than a lock names.
  [[ ${PROFILE-} != dev ]] || lock=off
  # A stage that is run again alone belongs to the build that the folder holds, whatever was committed since.
  if [[ -n ${POSTHOUSE_ONLY-} ]]; then
    settled=$(cat "$folder/settled") || fail "no build in $folder to run a stage of; build the image first"
  else
    settled=$("$TOOL" settle --root "$POSTHOUSE_ROOT" --base "${BASE:-auto}" --version "${VERSION-}" \
      --profile "${PROFILE:-release}" --lock "${LOCK:-$lock}") || exit 1
    { mkdir --parents "$folder" && echo "$settled" >"$folder/settled"; } || fail "cannot write to $folder"
  fi
  # One NAME='value' a line.
  set -o allexport
  eval "$settled"
  WORK=$folder/$BASE-$PROFILE
  CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/posthouse/image
  DIST=${POSTHOUSE_DIST_DIR:-$POSTHOUSE_ROOT/dist}
  LOCK_FILE=${POSTHOUSE_LOCK_DIR:-$POSTHOUSE_ROOT/image/lock}/$BASE.lock
  set +o allexport
  mkdir --parents "$WORK/logs" "$WORK/tmp" || fail "cannot write to $WORK"
}

# Whose updates the image will take, and which are too old for it. Both go into the image, so that the same root and seq give the same
# image.
settle_update_root() {
  "$TOOL" update-root --given "${UPDATE_ROOT-}" --keys "${XDG_CONFIG_HOME:-$HOME/.config}/posthouse/release" --profile "$PROFILE" \
    --out "$WORK/update-root" --version "$VERSION" --seq "${SEQ-}" --release-out "$WORK/release" || exit 1
}

# What a killed build left running would write into this build's files.
end_orphans() {
  local group
  [[ -s $WORK/stage.group ]] || return 0
  group=$(<"$WORK/stage.group")
  if grep --quiet --text image/stages/ "/proc/$group/cmdline" 2>/dev/null; then
    kill -TERM -- "-$group" 2>/dev/null || true
    timeout 60 tail --pid="$group" --follow /dev/null || fail "process $group of a killed build does not end; end it by hand"
  fi
  rm --force "$WORK/stage.group"
}

# What an earlier, killed run left. Never follows a mount out of the folder.
clean_leftovers() {
  in_namespace rm --recursive --force --one-file-system "$WORK/tmp" "$WORK/initramfs"
  rm --recursive --force "$DIST"/.posthouse-*
  # Half a copy, of a build that was killed or met a full disk; an hour old, so that it is no other build's.
  [[ ! -d $CACHE ]] || find "$CACHE" -maxdepth 2 -name '.fresh-*' -mmin +60 -exec rm --recursive --force {} + 2>/dev/null || true
  # A .deb that no build has used for two months.
  [[ ! -d $CACHE/debs ]] || find "$CACHE/debs" -name '*.deb' -mtime +60 -delete 2>/dev/null || true
  mkdir --parents "$WORK/tmp"
}

# A lock that was made for other packages stops the build before it has begun.
check_lock() {
  [[ $LOCK != off && -e $LOCK_FILE ]] || return 0
  "$TOOL" lock check --lock "$LOCK_FILE" --wanted "$(wanted_packages)" || exit 1
}
