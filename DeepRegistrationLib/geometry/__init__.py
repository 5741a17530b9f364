"""Where things lie in the patient: images, transforms in LPS mm, lists of points, single slices."""
