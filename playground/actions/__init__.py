"""What a person can do, each thing once. The page, the endpoints and the command line call these and nothing below."""
