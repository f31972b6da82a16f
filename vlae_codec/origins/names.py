"""What a picture may be looked for to have been: the names of origins. This module imports nothing."""

GREY = "grey"
NAMES = ("jpeg", GREY, "jfif", "photocd", "webp", "swscale", "libyuv", "values")  # coefficients, source planes, values
