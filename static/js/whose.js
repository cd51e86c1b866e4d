// Finds labels of this installation's keys in what was pasted. Only they are sent; all else stays on this page.
function labelsIn(text, regex) {
  return [...new Set(text.match(new RegExp(regex, "g")) ?? [])];
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
    show(labelsIn(pasted.value, form.dataset.whose));
  });
  // A whole key may also be pasted where only its label belongs.
  const cut = () => {
    const labels = labelsIn(field.value, form.dataset.whose);
    if (labels.length > 0) field.value = labels.join(" ");
  };
  field.addEventListener("input", cut);
  form.addEventListener("submit", () => {
    cut();
    pasted.value = "";
  });
}

for (const form of document.querySelectorAll("[data-whose]")) start(form);
