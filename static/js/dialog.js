// Opens what htmx put into #dialog, and keeps the one-time reveal from being closed by accident.
const dialog = document.getElementById("dialog");
const isLocked = () => dialog.querySelector("[data-no-dismiss]") !== null;

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target !== dialog) return;
  dialog.closedBy = isLocked() ? "none" : "closerequest";
  if (!dialog.open) dialog.showModal();
});

// A second Escape in a row closes a dialog even if `cancel` was prevented, so the key itself is stopped.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Escape" && dialog?.open && isLocked()) event.preventDefault();
  },
  true,
);

dialog?.addEventListener("cancel", (event) => {
  if (isLocked()) event.preventDefault();
});

// Pressed, not released: dragging a selection out of a field must not close the form.
dialog?.addEventListener("pointerdown", (event) => {
  if (event.target === dialog && !isLocked()) dialog.close();
});

dialog?.addEventListener("click", (event) => {
  if (!event.target.closest("[data-close]")) return;
  event.preventDefault();
  dialog.close();
});

// Nothing of a closed dialog stays in the page: no stale form, no double ids.
dialog?.addEventListener("close", () => dialog.replaceChildren());
