// Finds labels of this installation's keys in what was pasted. Only they are sent; all else stays on this page.
// An imported key has no shape of its own, but its label is its beginning, as long as that of one that was imported.
function importedLabel(word, lengths) {
  const bare = word.replace(/^[^0-9A-Za-z]+|[^0-9A-Za-z]+$/g, "");
  if (lengths.length === 0 || !/[0-9A-Z]/.test(bare)) return [];
  const label = [bare, bare.split(".")[0]].find((text) => lengths.includes(text.length));
  if (label) return [label];
  // No word of a sentence, and no label of another length, is so long.
  return bare.length >= Math.max(...lengths) + 16 ? [bare.slice(0, Math.max(...lengths))] : [];
}

function labelsIn(text, { whose, whoseLengths }) {
  const lengths = whoseLengths.split(" ").filter(Boolean).map(Number);
  const found = text.split(/[\s"'`,;:=<>(){}[\]…]+/).map((word) => word.match(new RegExp(whose, "g")) ?? importedLabel(word, lengths));
  return [...new Set(found.flat())];
}

function start(form) {
  const pasted = form.querySelector("[data-whose-paste]");
  const field = form.elements.label;
  const status = form.querySelector("[data-whose-status]");

  function show(labels) {
    field.value = labels.join(" ");
    status.textContent = labels.length === 0 ? "No label of this portal's keys is in it." : "";
  }

  pasted.addEventListener("input", () => {
    if (pasted.value === "") {
      status.textContent = "";
      return;
    }
    show(labelsIn(pasted.value, form.dataset));
  });
  // A whole key may also be pasted where only its label belongs.
  field.addEventListener("input", () => {
    const labels = labelsIn(field.value, form.dataset);
    if (labels.length > 0) show(labels);
  });
  form.addEventListener("submit", (event) => {
    show(labelsIn(field.value, form.dataset));
    if (field.value === "") event.preventDefault();
    pasted.value = "";
  });
}

for (const form of document.querySelectorAll("[data-whose]")) start(form);
