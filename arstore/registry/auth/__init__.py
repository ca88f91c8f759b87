"""Authorisation: read challenges (`challenge`), fetch tokens (`token`), and keep them (`authorizer`)."""
