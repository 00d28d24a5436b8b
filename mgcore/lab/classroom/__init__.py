"""The lab class: checks of its exercises, and the grading of a folder of submissions."""
