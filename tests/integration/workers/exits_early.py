"""Starts the agent, says `ready` and returns at once: nobody waits for the agent."""

import stage

stage.start_agent()
stage.ready()
