// Escape hides a hint without moving pointer or focus; it may return on the next visit.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const tip of document.querySelectorAll(".tip:is(:hover, :focus)")) tip.dataset.hushed = "";
});

for (const left of ["pointerout", "focusout"]) {
  document.addEventListener(left, (event) => {
    const tip = event.target.closest?.(".tip");
    if (tip) delete tip.dataset.hushed;
  });
}
