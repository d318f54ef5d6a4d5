"""The demo: recorded prompts, rewards and bills of three real models, streamed through a real server."""
