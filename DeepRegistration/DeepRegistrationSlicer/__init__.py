"""What stands between Slicer and the registration worker. Nothing is imported or done here."""
