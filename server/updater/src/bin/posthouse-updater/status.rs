//! `status.json`: what the updater says of itself to the server, as [`UpdateState`].

use posthouse_protocol::update::{
    HISTORY_SHOWN_MAX, RatchetInfo, RootInfo, SlotInfo, SlotKind, TrialInfo, UpdateOutcome, UpdateState, UpdateVerdict,
};
use posthouse_updater::{InstalledSlot, Slot, Verdict};

use crate::paths::Paths;
use crate::records::Records;
use crate::{files, slots};

/// Puts it in place. In memory: after the box was off, `pick` writes it before the server starts.
///
/// # Errors
/// When the folder can't be written.
pub fn write(records: &Records) -> anyhow::Result<()> {
    files::folder(&records.paths.run_dir, 0o755)?;
    files::put(&records.paths.status(), 0o644, &serde_json::to_vec(&state(records))?)?;
    Ok(())
}

fn state(records: &Records) -> UpdateState {
    let kept = &records.kept;
    let (ratchet, root) = match &records.trust {
        Ok(trust) => {
            let (ratchet, root) = (trust.ratchet(), trust.root());
            let info = RootInfo {
                version: root.version,
                generation: root.generation,
                threshold: u32::try_from(root.threshold).unwrap_or(u32::MAX),
                keys: root.keys.iter().map(|key| key.name.clone()).collect(),
            };
            let ratchet = RatchetInfo { generation: ratchet.generation, seq: ratchet.seq, min_seq: ratchet.min_seq };
            (ratchet, info)
        }
        Err(_) => Default::default(),
    };
    let mut troubles = records.troubles();
    troubles.extend(records.trust.as_ref().err().map(|reason| format!("nothing can be installed: {reason}")));
    let mut history = records.history();
    history.truncate(HISTORY_SHOWN_MAX);
    UpdateState {
        current: slot(records, &kept.state.current),
        previous: kept.state.previous.as_ref().map(|previous| slot(records, previous)),
        trial: kept.state.trial.as_ref().map(|trial| TrialInfo {
            slot: installed(&records.paths, &trial.slot),
            starts_left: trial.starts_left,
            crashes_left: trial.crashes_left,
        }),
        ratchet,
        root,
        last: kept.state.last.as_ref().map(|last| verdict(last, kept.last_at_ms)),
        refused: kept.refused.clone(),
        busy: records.is_busy,
        history,
        trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
    }
}

fn verdict(verdict: &Verdict, at_ms: Option<u64>) -> UpdateVerdict {
    let (outcome, version, reason) = match verdict {
        Verdict::Confirmed { version } => (UpdateOutcome::Confirmed, Some(version), None),
        Verdict::RolledBack { version, reason } => (UpdateOutcome::RolledBack, Some(version), Some(reason.clone())),
        Verdict::WentBack => (UpdateOutcome::WentBack, None, None),
    };
    UpdateVerdict { outcome, version: version.map(ToString::to_string), reason, at_ms }
}

fn slot(records: &Records, slot: &Slot) -> SlotInfo {
    match slot {
        Slot::Factory => SlotInfo {
            kind: SlotKind::Factory,
            // Compiled from the same sources as this program.
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: records.image.map(|image| image.generation),
            seq: records.image.map(|image| image.seq),
            ..SlotInfo::default()
        },
        Slot::Installed(slot) => installed(&records.paths, slot),
    }
}

fn installed(paths: &Paths, slot: &InstalledSlot) -> SlotInfo {
    let release = slots::release(paths, slot);
    SlotInfo {
        kind: SlotKind::Installed,
        version: slot.version.to_string(),
        sha256: Some(slot.sha256.to_string()),
        generation: Some(slot.place.generation),
        seq: Some(slot.place.seq),
        signed_by: slot.signed_by.clone(),
        issued_day: release.as_ref().map(|release| release.issued_day),
        expires_day: release.as_ref().map(|release| release.expires_day),
        notes: release.map(|release| release.notes).filter(|notes| !notes.is_empty()),
    }
}
