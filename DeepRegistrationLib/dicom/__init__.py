"""Registrations as DICOM objects: written for two series, read back. The only room that uses pydicom, and lazily."""
