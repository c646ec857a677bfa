"""The release before this version, beside this version: on the same servers, with its configuration, in pages."""
