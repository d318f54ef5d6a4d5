"""ParetoBandit's experiments, played to the product and to ParetoBandit; late and rare feedback to the product."""
