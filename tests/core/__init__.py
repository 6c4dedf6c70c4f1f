"""What the operator decides. Read `given` first: the words in which the other tests are written."""
