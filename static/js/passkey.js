// Makes or uses a passkey before a form marked data-passkey ("create" or "get") is sent, and sends along what came of it.
const ERRORS = {
  InvalidStateError: "This device or security key is set up already.",
  NotAllowedError: "Nothing came of it: the question was closed, or took too long. Try again.",
  NotSupportedError: "This device cannot do that. Try another one.",
};

const bytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
const encoded = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// What the server writes as base64url, the browser wants as bytes.
function read({ publicKey }) {
  const known = (list) => list?.map((one) => ({ ...one, id: bytes(one.id) }));
  const options = { ...publicKey, challenge: bytes(publicKey.challenge) };
  if (options.user) options.user = { ...options.user, id: bytes(options.user.id) };
  if (options.allowCredentials) options.allowCredentials = known(options.allowCredentials);
  if (options.excludeCredentials) options.excludeCredentials = known(options.excludeCredentials);
  return { publicKey: options };
}

function write(credential) {
  const names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"];
  const given = names.filter((name) => credential.response[name]);
  return JSON.stringify({
    id: credential.id,
    rawId: encoded(credential.rawId),
    type: credential.type,
    response: Object.fromEntries(given.map((name) => [name, encoded(credential.response[name])])),
    clientExtensionResults: credential.getClientExtensionResults(),
  });
}

async function optionsOf(form) {
  if (form.dataset.passkeyOptions) return JSON.parse(form.dataset.passkeyOptions);
  const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`The portal answered ${answer.status}. Try again in a minute.`);
  return (await answer.json()).request_options;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-passkey]");
  if (!form) return;
  event.preventDefault();
  const status = form.querySelector("[data-passkey-status]");
  status.textContent = "";
  try {
    if (location.origin !== form.dataset.passkeyOrigin) {
      throw new Error(`Passkeys work under ${form.dataset.passkeyOrigin} only. Open the portal there.`);
    }
    if (!navigator.credentials) throw new Error("This browser knows no passkeys.");
    const credential = await navigator.credentials[form.dataset.passkey](read(await optionsOf(form)));
    form.elements.credential.value = write(credential);
    form.submit();
  } catch (error) {
    status.textContent = ERRORS[error.name] ?? error.message;
  }
});
