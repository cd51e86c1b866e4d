// A request that failed says so where the person is looking: in the open dialog, else on top of the page.
const ADVICE = {
  403: "You may not do this. Ask a team admin for the role, or reload if you signed in elsewhere.",
  404: "This no longer exists. Reload the page to see the current state.",
  429: "Too many requests. Wait a moment, then try again.",
};

function show(text) {
  const dialog = document.querySelector("dialog[open]");
  const place = dialog?.querySelector(".sheet-body") ?? dialog ?? document.querySelector(".page");
  const line = document.createElement("p");
  line.className = "notice is-error";
  line.setAttribute("role", "alert");
  line.dataset.failure = "";
  line.textContent = text;
  hide();
  place.prepend(line);
  line.scrollIntoView({ block: "nearest" });
}

function hide() {
  document.querySelector("[data-failure]")?.remove();
}

document.addEventListener("htmx:beforeRequest", hide);
document.addEventListener("htmx:responseError", (event) => {
  const { status } = event.detail.xhr;
  show(ADVICE[status] ?? `The server could not answer (${status}). Reload the page to see what was saved, then try again.`);
});
document.addEventListener("htmx:sendError", () => show("No connection to the server. Check the network, then try again."));
