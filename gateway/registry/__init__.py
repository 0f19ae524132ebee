"""Who may send: companies, their brands and campaigns, and the numbers they send from. Pure."""
