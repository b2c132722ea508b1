"""What learns: experts and gates from data rows, routers from labels; and how all of it is measured."""
