"""Authorisation: what a registry asks for (`challenge`), getting tokens (`token`), and keeping them (`authorizer`)."""
