// The short life of a key in the page: focus on Copy, one question before it is lost, and nothing left behind.
let current = null;
let isTaken = false;

function start() {
  const found = document.querySelector("[data-reveal]");
  if (found === current) return;
  current = found;
  isTaken = false;
  current?.querySelector("[data-reveal-copy]").focus();
}

function ask(isAsking) {
  const guard = current.querySelector("[data-reveal-guard]");
  guard.hidden = !isAsking;
  if (isAsking) guard.focus();
}

function clear() {
  for (const secret of document.querySelectorAll("[data-reveal] [data-secret]")) {
    if ("value" in secret) secret.defaultValue = secret.value = "";
    secret.textContent = "";
  }
}

function taken(event) {
  if (!current?.contains(event.target)) return;
  isTaken = true;
  ask(false);
}

document.addEventListener("keyportal:taken", taken);
// Ctrl+C by hand counts as well, once something is selected.
document.addEventListener("copy", (event) => {
  if (event.target.closest?.("[data-secret]")) taken(event);
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-reveal-leave]")) return clear();
  if (!event.target.closest("[data-reveal-done]")) return;
  if (isTaken) return clear();
  event.preventDefault();
  ask(true);
});

addEventListener("pagehide", clear);
document.addEventListener("htmx:afterSettle", start);
start();
