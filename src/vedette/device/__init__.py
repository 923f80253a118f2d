"""What this machine is: facts only, no models, no plans."""
