// Copies the text of the element named by data-copy, and says "Copied" only if the browser confirmed it.
const textOf = (source) => ("value" in source ? source.value : source.textContent);

function select(source) {
  if ("select" in source) {
    source.focus();
    source.select();
  } else {
    source.focus();
    getSelection().selectAllChildren(source);
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const status = document.getElementById(button.dataset.copyStatus);
  try {
    // Plain HTTP on a LAN has no navigator.clipboard: the TypeError leads to the same advice as a refusal.
    await navigator.clipboard.writeText(textOf(source));
    status.textContent = "Copied";
    status.classList.add("is-done");
    button.dispatchEvent(new CustomEvent("keyportal:taken", { bubbles: true }));
  } catch {
    select(source);
    const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
    status.textContent = `Selected. Press ${isMac ? "⌘C" : "Ctrl+C"} to copy it.`;
    status.classList.remove("is-done");
  }
});
