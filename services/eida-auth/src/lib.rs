//! A temporary login and password for an OpenPGP-signed token, for seismological data centres.
