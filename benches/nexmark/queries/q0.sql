-- Pass through: what decoding costs.
CREATE TABLE result (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING)
WITH ('connector' = 'checksum');
INSERT INTO result SELECT auction, bidder, price, `dateTime`, extra FROM bid;
