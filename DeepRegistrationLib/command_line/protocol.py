"""What a process of the library and who started it agree on. Imports nothing: it is loaded before Ctrl+C is heard."""

EXIT_DONE, EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 130
"""Exit codes; 130 as shells have it for Ctrl+C."""

OUTPUT_FILE, ERRORS_FILE, ENDED_FILE = "worker-output.jsonl", "worker-errors.txt", "worker-ended.json"
"""In the folder of a request: what was printed, what was said on standard error, and, last and whole, how it ended."""

IDLE_SECONDS = 600.0
"""After which a process that serves ends."""
