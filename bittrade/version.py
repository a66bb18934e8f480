"""The release that this code is."""

VERSION = "1.0.0"
