"""One function per business action; one commit each; after it only cache and broadcast."""
