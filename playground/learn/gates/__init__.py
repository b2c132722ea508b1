"""Training gates and joint training: data, objectives, kept states, fitting, and what they make."""
