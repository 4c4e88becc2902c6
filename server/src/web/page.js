// What a page does beyond showing itself; every page works without it.
"use strict";

// At the front door: moves on to TLS where this device trusts the box, with what stands behind the # (it goes to no server).
const door = document.querySelector("[data-secure]");
if (door) {
  const secure = door.dataset.secure;
  fetch(secure + "/trusted", { mode: "no-cors", cache: "no-store" }).then(
    () => location.replace(secure + "/" + location.hash),
    () => {},
  );
}
for (const link of document.querySelectorAll("a[data-keep]")) link.hash = location.hash;

// The box sets its clock by this one, if it has no better.
for (const field of document.querySelectorAll("input[name=clock_ms]")) {
  field.form.addEventListener("submit", () => { field.value = Date.now(); });
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

// Who comes with an invite is shown how to use it.
const invite = /^#invite=([0-9A-Za-z-]{1,64})$/.exec(location.hash);
for (const section of invite ? document.querySelectorAll("[data-invite]") : []) {
  section.hidden = false;
  for (const place of section.querySelectorAll("[data-code]")) place.textContent = invite[1];
}
