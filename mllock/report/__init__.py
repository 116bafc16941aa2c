"""One run on a page: values, plots and words; nothing is read, run or sent here."""
