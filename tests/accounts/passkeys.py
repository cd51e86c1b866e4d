"""A passkey in software: it answers what a browser would be asked, also as an honest browser never would."""

import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

ORIGIN = "http://localhost:8000"
FLAG = AuthenticatorData.FLAG


@dataclass
class SoftPasskey:
    """One passkey of one person; `verifies_user` as by a fingerprint or PIN."""

    name: str = "Work laptop"
    origin: str = ORIGIN
    rp_id: str = "localhost"
    verifies_user: bool = True
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = b""
    user_handle: bytes = b""

    def create(self, options: dict[str, Any]) -> str:
        """Answer what a page asks to be made."""
        asked = options["publicKey"]
        self.credential_id = _digest(self.key.public_key().public_numbers().x.to_bytes(32, "big"))
        self.user_handle = websafe_decode(asked["user"]["id"])
        public = ES256.from_cryptography_key(self.key.public_key())  # type: ignore[no-untyped-call] # as fido2 has it
        attested = AttestedCredentialData.create(b"\0" * 16, self.credential_id, public)
        flags = self._flags() | FLAG.AT
        data = AuthenticatorData.create(_digest(self.rp_id.encode()), flags, 0, attested)
        client = self._client(CollectedClientData.TYPE.CREATE, asked)
        attestation = AttestationObject.create("none", data, {})
        return self._answer(
            {"clientDataJSON": websafe_encode(client), "attestationObject": websafe_encode(bytes(attestation))},
            {"credProps": {"rk": True}},
        )

    def get(self, options: dict[str, Any]) -> str:
        """Answer a challenge."""
        data = AuthenticatorData.create(_digest(self.rp_id.encode()), self._flags(), 1)
        client = self._client(CollectedClientData.TYPE.GET, options["publicKey"])
        signature = self.key.sign(bytes(data) + client.hash, ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": websafe_encode(client),
                "authenticatorData": websafe_encode(bytes(data)),
                "signature": websafe_encode(signature),
                "userHandle": websafe_encode(self.user_handle),
            },
            {},
        )

    def _flags(self) -> Any:
        return FLAG.UP | FLAG.UV if self.verifies_user else FLAG.UP

    def _client(self, kind: str, asked: dict[str, Any]) -> CollectedClientData:
        return CollectedClientData.create(kind, websafe_decode(asked["challenge"]), self.origin)

    def _answer(self, response: dict[str, str], extensions: dict[str, Any]) -> str:
        credential_id = websafe_encode(self.credential_id)
        return json.dumps(
            {
                "id": credential_id,
                "rawId": credential_id,
                "type": "public-key",
                "response": response,
                "clientExtensionResults": extensions,
            }
        )


def _digest(data: bytes) -> bytes:
    digest = Hash(SHA256())
    digest.update(data)
    return digest.finalize()
