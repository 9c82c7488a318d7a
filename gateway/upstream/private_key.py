"""The RSA key that a program signs with to show who it is."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def private_key_of(pem: str) -> RSAPrivateKey:
    """Raises ValueError saying what is wrong, without a value."""
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:
        raise ValueError("its private key has a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("holds no private key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("its private key is not an RSA key")
    return key
