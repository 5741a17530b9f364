"""Between MRML and arrays: nodes, masks, derived images, what is shown."""
