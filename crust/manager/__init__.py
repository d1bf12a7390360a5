"""The thread that decides, what it is made of, and the parts of the public class."""
