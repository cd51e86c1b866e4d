// Saves the text of an element as a file, below a line that says what it is, if there is one. A Blob, so that the text is never part of a URL.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-download]");
  if (!button) return;
  const source = document.getElementById(button.dataset.source);
  const lines = [button.dataset.preface, source.textContent].filter(Boolean);
  const address = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = button.dataset.download;
  link.click();
  // Revoked in a later task: the browser has started reading by then, and nothing can read it again.
  setTimeout(() => URL.revokeObjectURL(address), 0);
  button.dispatchEvent(new CustomEvent("keyportal:taken", { bubbles: true }));
});
