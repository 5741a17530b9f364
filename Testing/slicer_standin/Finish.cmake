# Slicer writes the extension's configuration and package rules here.
