"""Vendor cells behind small components, with a generic form of each."""
