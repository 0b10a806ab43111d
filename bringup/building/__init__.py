"""What a build is given: variables, tools, hooks; and which old build trees it must not use."""
